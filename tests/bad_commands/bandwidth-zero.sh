backhaul run --bandwidth 0 plan.yaml
