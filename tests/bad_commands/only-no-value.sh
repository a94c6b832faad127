backhaul run --only tenant plan.yaml
