//! What `run` and `step` do before the first step: files, dimensions, parameters.

use ssmc::diag::{Code, Diagnostic};
use ssmc::ir::{self, Instance, bind, instance};
use ssmc_runtime::Bound;

use super::args::{DataArgs, LayerArgs};
use super::data::{Params, Shapes, States};
use super::engine::Number;
use super::files::Files;
use super::layout::Layout;
use super::memory;
use super::program::{Program, given_dims};
use super::tensors::OutputFile;

/// The files of parameters and states, with what they have for the layer.
pub struct Setup {
    /// The files of `--params`.
    param_files: Files,
    params: Params,
    /// The files of `--state-in`.
    pub state_files: Files,
    /// What they have.
    pub states: States,
    /// The axes of all tensors that were located.
    pub shapes: Shapes,
}

impl Setup {
    /// Locates parameters and states. `others` are files of other options, for messages.
    ///
    /// # Errors
    /// Everything that is wrong with the files.
    pub fn locate(
        program: &Program,
        layer: &ir::Layer,
        args: &DataArgs,
        others: &[&Files],
    ) -> Result<Self, Vec<Diagnostic>> {
        let mut shapes = Shapes::new();
        let (mut param_files, mut state_files) =
            both(Files::open("--params", &args.params), Files::open("--state-in", &args.state_in))?;
        let params = Params::locate(layer, &args.prefix, &mut param_files, &with(others, &state_files), &mut shapes);
        let states = States::locate(layer, &mut state_files, &mut shapes);
        let (params, states) = both(params, states)?;
        if states.is_empty() && !state_files.is_empty() {
            let place = format!("--state-in {}", state_files.paths());
            let message = "no state of the layer is in there; all start from their initial values";
            program.report(&[Diagnostic::error_at(Code::S403, place, message).into_note()]);
        }
        Ok(Self { param_files, params, state_files, states, shapes })
    }

    /// Fixes the dimensions, makes sure that there is memory for the run, and reads and binds the parameters.
    ///
    /// # Errors
    /// Dimensions that nothing or two things give, sizes that cannot be run, and what is wrong with the tensors.
    pub fn bind<F: Number>(
        &mut self,
        layer: &ir::Layer,
        layer_args: &LayerArgs,
        layout: &Layout,
        seed: u64,
    ) -> Result<(Instance, Bound<F>), Vec<Diagnostic>> {
        let given = given_dims(layer, &layer_args.dims);
        let dims = instance::solve_dims(layer, &given, &self.shapes)?;
        let instance = Instance::new(layer.clone(), dims)?;
        memory::check::<F>(&instance, layout)?;
        let params = self.params.read(&instance, &mut self.param_files)?;
        let bound = bind::bind(&instance, params, seed)?;
        Ok((instance, bound))
    }
}

fn with<'a>(others: &[&'a Files], more: &'a Files) -> Vec<&'a Files> {
    others.iter().copied().chain([more]).collect()
}

/// Both results, or what is wrong with either.
pub fn both<A, B>(a: Result<A, Vec<Diagnostic>>, b: Result<B, Vec<Diagnostic>>) -> Result<(A, B), Vec<Diagnostic>> {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        (a, b) => Err(a.err().into_iter().chain(b.err()).flatten().collect()),
    }
}

/// Makes sure that a file can be written, where one is asked for.
///
/// # Errors
/// S401
pub fn output_file(arg: Option<&super::args::OutputFileArg>) -> Result<Option<OutputFile>, Vec<Diagnostic>> {
    arg.map(OutputFile::create).transpose().map_err(|error| vec![error])
}
