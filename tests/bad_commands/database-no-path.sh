backhaul run --database sqlite:// plan.yaml
