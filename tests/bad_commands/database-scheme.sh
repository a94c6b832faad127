backhaul run --database oracle://db/x plan.yaml
