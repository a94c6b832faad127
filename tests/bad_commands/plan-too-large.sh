truncate -s 536870913 plan.yaml
backhaul run plan.yaml
