backhaul run --database "sqlite:a.db?mode=rwc" plan.yaml
