backhaul run --concurrency 100000 plan.yaml
