head -c 10000 /dev/zero | tr '\0' '[' > plan.yaml
backhaul run plan.yaml
