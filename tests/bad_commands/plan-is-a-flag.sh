backhaul run -- --plan.yaml
