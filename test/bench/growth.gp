# The plot of how the worker's cost grows with what is tracked.
#
#	gnuplot -e "data = '…'; plot_file = '…'; due = '…'" growth.gp
#
# The files data, ids.dat have a line for each size: rows, median, minimum and
# maximum in seconds.

in_order = data.', in order.dat'
random = data.', random.dat'

set terminal svg size 800,480 font 'Helvetica,16' background 'white'
set output plot_file

stats in_order using ($0 == 0 ? $2 : 1/0) nooutput
limit = 1.2 * STATS_min
stats random using 4 nooutput
highest = (STATS_max > limit) ? STATS_max : limit

set title "Cost of a larger table: claim, end and record ".due." due sessions"
set xlabel 'tracked sessions (rows, logarithmic)'
set ylabel 'time (seconds)'
set logscale x 10
set format x '%.0s%c'
set xrange [0.5 * 10000 * scale : 20000000 * scale]
set yrange [0 : 1.25 * highest]
set border 3
set format y '%.1f'
set tics nomirror out
unset mxtics
set grid ytics linecolor rgb '#dddddd'
set key bottom right

plot limit title '1.2 × the smallest' with lines \
		linewidth 2 dashtype 2 linecolor rgb '#c0392b', \
	random using 1:2 notitle with lines linewidth 2 linecolor rgb '#999999', \
	random using 1:2:3:4 title 'ids random' with yerrorbars \
		linewidth 2 pointtype 5 pointsize 0.9 linecolor rgb '#999999', \
	in_order using 1:2 notitle with lines linewidth 2 \
		linecolor rgb '#2c5f8a', \
	in_order using 1:2:3:4 title 'ids in order' with yerrorbars \
		linewidth 2 pointtype 7 pointsize 0.9 linecolor rgb '#2c5f8a'
