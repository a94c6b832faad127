backhaul run --database postgres://me:hunter2@db/x plan.yaml
