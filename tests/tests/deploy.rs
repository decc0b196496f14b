//! What is in `deploy/`: everything the chart renders is looked at by checkers and run as processes.

mod deploy {
    mod alerts_are_of_their_release;
    mod alerts_ask_for_what_is_there;
    mod autoscaler;
    mod autoscalers_ask_one_question;
    mod cluster;
    mod custom_resources;
    mod every_render_fits_together;
    mod faults;
    mod mutations;
    mod rendered_pods_run;
    mod schemas;
    mod the_chart_renders;
    mod the_compose_file_starts_what_it_says;
    mod types;
    mod values_do_what_they_say;
    mod what_runs_is_kept;
    mod world;
}
