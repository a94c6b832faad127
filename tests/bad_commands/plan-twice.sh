backhaul run plan.yaml plan.yaml
