backhaul run --only color=red plan.yaml
