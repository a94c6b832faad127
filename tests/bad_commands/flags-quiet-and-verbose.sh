backhaul -q -v run plan.yaml
