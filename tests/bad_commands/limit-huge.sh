backhaul run --limit 18446744073709551616 plan.yaml
