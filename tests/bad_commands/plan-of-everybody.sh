chmod 602 plan.yaml
backhaul run plan.yaml
