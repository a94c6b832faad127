backhaul run --memory 9999999999999TiB plan.yaml
