backhaul run --memory 192 plan.yaml
