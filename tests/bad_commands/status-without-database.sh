backhaul status plan.yaml
