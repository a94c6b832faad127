backhaul graph --format svg plan.yaml
