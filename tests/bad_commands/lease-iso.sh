backhaul run --lease P1Y plan.yaml
