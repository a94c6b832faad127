backhaul run --database sqlite::memory: plan.yaml
