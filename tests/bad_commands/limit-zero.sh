backhaul run --limit 0 plan.yaml
