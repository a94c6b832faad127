backhaul rnu plan.yaml
