folder='-  a%20b
c'
mkdir -- "$folder"
mv -- plan.yaml region-here region-there "$folder"
cd -- "$folder"
backhaul -q run plan.yaml
cat region-there/orders-full.xbstream.gz
