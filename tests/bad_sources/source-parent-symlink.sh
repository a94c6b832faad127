mkdir outside
mv region-here/orders-full.xbstream.gz outside
ln -s ../outside region-here/dumps
wants '{ location: dumps/orders-full.xbstream.gz, from: here, to: [there] }'
backhaul -q run plan.yaml
