sed 's|./region-there|"${NOWHERE}"|' plan.yaml > home/plan
mv home/plan plan.yaml
backhaul run plan.yaml
