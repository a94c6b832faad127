: > region-here/orders-full.xbstream.gz
backhaul -q run plan.yaml
backhaul -q verify --depth full plan.yaml
wc -c < region-there/orders-full.xbstream.gz
