backhaul run --database postgres://me@db:70000/x plan.yaml
