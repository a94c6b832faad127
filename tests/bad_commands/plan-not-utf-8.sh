printf 'version: 1\nname: caf\351\n' > plan.yaml
backhaul run plan.yaml
