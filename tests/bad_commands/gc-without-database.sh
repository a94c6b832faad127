backhaul gc plan.yaml
