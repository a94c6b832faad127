mkdir gone
cd gone
rmdir ../gone
backhaul check ../plan.yaml
