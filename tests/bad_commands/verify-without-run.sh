backhaul verify plan.yaml
