backhaul check plan.yaml > /dev/full
