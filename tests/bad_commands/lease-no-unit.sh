backhaul run --lease 10 plan.yaml
