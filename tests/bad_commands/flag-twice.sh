backhaul run --concurrency 2 --concurrency 3 plan.yaml
