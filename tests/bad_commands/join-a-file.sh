backhaul run --if-running join --database sqlite:a.db plan.yaml
