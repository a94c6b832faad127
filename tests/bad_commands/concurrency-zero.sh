backhaul run --concurrency=0 plan.yaml
