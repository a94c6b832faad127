folder=$PWD
mkdir gone
cd gone
rmdir ../gone
backhaul -q run "$folder/plan.yaml"
cat "$folder/region-there/orders-full.xbstream.gz"
