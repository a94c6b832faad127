mv region-here/orders-full.xbstream.gz region-here/real
ln -s real region-here/orders-full.xbstream.gz
wants '{ location: orders-full.xbstream.gz, from: here, to: [there] }'
backhaul -q run plan.yaml
