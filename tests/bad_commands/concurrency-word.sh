backhaul run --concurrency many plan.yaml
