backhaul run --paralel 3 plan.yaml
