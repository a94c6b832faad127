TZ=Mars/Olympus backhaul -q run plan.yaml
TZ=: backhaul -q run plan.yaml
