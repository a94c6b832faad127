backhaul run --bandwidth 5MB/s plan.yaml
