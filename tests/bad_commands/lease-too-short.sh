backhaul run --lease 5s --heartbeat 4s plan.yaml
