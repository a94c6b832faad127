backhaul run --bandwidth NaN plan.yaml
