rm plan.yaml
mkfifo plan.yaml
backhaul run plan.yaml
