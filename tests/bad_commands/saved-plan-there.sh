backhaul plan --out plan.yaml plan.yaml
