backhaul run --database sqlite:/dev/null plan.yaml
