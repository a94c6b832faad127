backhaul run --concurrency=-1 plan.yaml
