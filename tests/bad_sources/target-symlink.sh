ln -s ../victim region-there/orders-full.xbstream.gz
wants '{ location: orders-full.xbstream.gz, from: here, to: [there] }'
backhaul -q run plan.yaml
