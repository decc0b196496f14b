//! What is in `deploy/`: everything the chart renders is looked at by checkers and run as processes.

mod deploy {
    mod the_chart_renders;
    mod world;
}
