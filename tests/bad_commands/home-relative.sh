HOME=home backhaul run plan.yaml
